"""What a model takes and gives: text, more than text, embeddings, or nothing that Slipway serves. Pure.

Called by the facts of the inspect Job and by the operator's ``plan.model_config``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from slipway_runtime.model_figures import nested

TEXT, MULTIMODAL, EMBEDDING, OTHER = "text", "multimodal", "embedding", "other"
UNSERVED = re.compile(
    r"Classification|QuestionAnswering|MultipleChoice|NextSentence|Detection|Segmentation|ActionPrediction"
    r"|Rerank|ForRanking|Reward|JointSchema"
    r"|Draft|DFlash|DSpark|Speculator|Medusa|MTP|Assistant|^P?[Ee]agle(?!2)|Eagle3|EAGLE"
    r"|Tokenizer|TTS|A[Ss][Rr](For|Real|\d)|Whisper|Transcribe|Seamless|Wav2Vec|Musicgen|^(Bark|Csm|Dia)(For|Model)"
    r"|T5|Bart(For|Model)|Marian|Pegasus|M2M100|ProphetNet|EncoderDecoder"
)
"""Classifiers and rerankers; draft models; speech; translators and other encoder-decoders. vLLM 0.32.0 drafts
with those of the third line and serves no encoder-decoder that writes text (its models/registry.py)."""
EMBEDS = re.compile(
    r"Bert(?!Generation)|BERT|Roberta|Camembert|Electra|MPNet|Embed(?!ded)|Bidirectional|Retrieval|Splade|^(Ops)?Col[A-Z]"
    r"|_ColBERT|^Gte|MaskedLM|^Gemma3TextModel|EncoderModel|^(CLIP|Clip|Siglip)Model"
    r"|^(Llama|Mistral|Qwen2|Qwen3|Gemma2|Phi3)Model$"
)
"""Encoders, and decoders without an output layer, which vLLM 0.32.0 lists as embedding models."""
EMBEDDING_FILES = re.compile(r"modules\.json|config_sentence_transformers\.json|\d+_Pooling/config\.json")
"""What sentence-transformers writes beside a model, also beside one whose architecture writes text."""
SENSES = ("vision_config", "audio_config", "sound_config", "visual", "vision_tower", "mm_vision_tower")
"""Parts of config.json that a model has which sees or hears."""
SENSING = re.compile(
    r"VL(?!lama)|Vision|Omni|Audio|OCR|Llava|Voxtral|Ultravox|MiniCPM[VO]$|Phi3V|Phi4MM|CausalLMV$|Molmo|Ovis"
    r"|Chameleon|Janus|Moondream|4VFor|ForConditionalGeneration$"
)
WRITES_ONLY_TEXT = frozenset({"ChatGLMForConditionalGeneration"})
"""Called ForConditionalGeneration, and taking text alone."""


def modality(config: Mapping[str, Any], architecture: str, files: Collection[str] = ()) -> str:
    """Return ``text``, ``multimodal``, ``embedding`` or ``other``.

    Args:
        config: the parsed config.json.
        architecture: the first of its ``architectures``.
        files: paths of the repository, for those of sentence-transformers.
    """
    if UNSERVED.search(architecture) or config.get("is_encoder_decoder") is True:
        return OTHER
    if EMBEDS.search(architecture) or any(EMBEDDING_FILES.fullmatch(path) for path in files):
        return EMBEDDING
    if architecture in WRITES_ONLY_TEXT:
        return TEXT
    part = config[nested(config)] if nested(config) else {}
    sees = any(isinstance(one.get(key), dict | str) and one[key] for one in (config, part) for key in SENSES)
    return MULTIMODAL if sees or SENSING.search(architecture) else TEXT


def refusal(architecture: str) -> str:
    """Return the sentences for a model of modality ``other``."""
    return (
        f"{architecture} neither writes text nor embeds by itself: it classifies, ranks, drafts, translates "
        "or speaks. Slipway serves models that generate text or embeddings: choose one of those"
    )
