# The local cluster's targets; the Makefile includes this file.
CLUSTER := .venv/bin/python hack/cluster/cluster.py
# Cluster traffic never goes through a proxy. The node's address stands beside its range because not every
# program understands ranges (Python's urllib compares names).
comma := ,
CLUSTER_ADDRESSES := 198.18.0.1,198.18.0.0/15,.svc,.cluster.local,127.0.0.1,localhost
given_no_proxy := $(or $(NO_PROXY),$(no_proxy))
ifeq ($(findstring $(CLUSTER_ADDRESSES),$(given_no_proxy)),)
given_no_proxy := $(if $(given_no_proxy),$(given_no_proxy)$(comma),)$(CLUSTER_ADDRESSES)
endif
export NO_PROXY := $(given_no_proxy)
export no_proxy := $(given_no_proxy)

.PHONY: tools tools-test tools-engines
tools: ## build the cluster's programs, helm among them (cached)
	@python3 hack/cluster/tools.py
tools-test: ## build what only the tests need
	@python3 hack/cluster/tools.py metrics-server registry versitygw
tools-engines: ## build what only the tests of engines and other projects' controllers need
	@python3 hack/cluster/tools.py kwok lws

.PHONY: cluster cluster-test cluster-down cluster-status cluster-doctor
cluster: cluster-able ## start the local cluster, or heal it
	@$(CLUSTER) up
cluster-test: cluster-able ## the local cluster with metrics-server, which autoscaling needs
	@$(CLUSTER) up --metrics
cluster-down: python-env ## end the local cluster and remove its data
	@$(CLUSTER) down
cluster-status: python-env ## each program of the cluster
	@$(CLUSTER) status
cluster-doctor: python-env ## what is wrong with the machine or the cluster, and what to do
	@$(CLUSTER) doctor
