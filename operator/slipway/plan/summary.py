"""``status.plan`` of a plan; called by the pass and ``slipway plan``."""

from __future__ import annotations

from typing import Final

from slipway.api.modeldeployment import AcceleratorStatus, MemoryStatus, PlanStatus, RejectedOption
from slipway.plan.decision import Plan
from slipway.plan.quantities import bytes_text, cpu_text

STATUS_REJECTED: Final = 16
"""``status.plan.rejected`` has at most this many entries."""
OPTION_LIMIT: Final = 256
TEXT_LIMIT: Final = 1024


def plan_status(plan: Plan) -> PlanStatus:
    """``status.plan`` of a plan: rejected options bounded, quantities as Kubernetes writes them."""
    memory, parallel, device = plan.memory, plan.parallel, plan.accelerator
    return PlanStatus(
        engine=plan.engine,
        method=plan.method,
        level=plan.level,
        context_length=plan.context_length,
        concurrency=plan.concurrency,
        threads=plan.threads,
        tensor_parallel=parallel.tensor if device else None,
        pipeline_parallel=parallel.pipeline if parallel.pipeline > 1 else None,
        data_parallel=parallel.data if parallel.data > 1 else None,
        pods=parallel.pods if parallel.pods > 1 else None,
        gpu_layers=plan.gpu_layers,
        accelerator=AcceleratorStatus(
            vendor=device.vendor, resource=device.resource, count=device.count, product=device.product or None
        )
        if device
        else None,
        node_selector=dict(plan.node_selector) or None,
        memory=MemoryStatus(
            weights=memory.weights,
            kv_cache=memory.kv_cache,
            activations=memory.activations,
            overhead=memory.overhead,
            companions=memory.companions or None,
            total=memory.total,
        ),
        resources={
            "cpu": cpu_text(plan.resources.cpu_millis),
            "memory": bytes_text(plan.resources.memory),
            "sharedMemory": bytes_text(plan.resources.shared_memory),
        },
        token_price=None if plan.price is None else f"{plan.price:.4g}",
        reason=plan.reason[:TEXT_LIMIT],
        rejected=[
            RejectedOption(option=one.option[:OPTION_LIMIT], reason=one.reason[:TEXT_LIMIT])
            for one in plan.rejected[:STATUS_REJECTED]
        ],
    )
