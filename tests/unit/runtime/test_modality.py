"""What a model takes and gives, by the names that are in the field."""

from __future__ import annotations

from typing import Any

import pytest

from slipway_runtime.llamacpp import is_convertible
from slipway_runtime.modality import modality
from slipway_runtime.model_figures import text_architectures

TEXT = [
    "LlamaForCausalLM", "Qwen3MoeForCausalLM", "GptOssForCausalLM", "DeepseekV4ForCausalLM",
    "Gemma3ForCausalLM", "ChatGLMForConditionalGeneration", "GPT2LMHeadModel", "BloomModel",
    "MambaForCausalLM", "MPTForCausalLM", "RWForCausalLM", "JambaForCausalLM", "BitNetForCausalLM",
    "DreamModel", "PanguEmbeddedForCausalLM",
]  # fmt: skip
MULTIMODAL = [
    "Qwen2VLForConditionalGeneration", "Gemma3ForConditionalGeneration", "LlavaForConditionalGeneration",
    "Llama4ForConditionalGeneration", "Eagle2_5_VLForConditionalGeneration", "InternVLChatModel",
    "MiniCPMV", "Phi4MMForCausalLM", "Qwen2AudioForConditionalGeneration", "GLM4VForCausalLM",
    "Qwen2_5OmniModel", "GraniteSpeechForConditionalGeneration", "VoxtralForConditionalGeneration",
]  # fmt: skip
EMBEDDING = [
    "BertModel", "XLMRobertaModel", "NomicBertModel", "ModernBertModel", "Gemma3TextModel",
    "JinaEmbeddingsV5Model", "LlamaBidirectionalModel", "Qwen3Model", "MistralModel", "GteNewModel",
    "BertForMaskedLM", "ColPaliForRetrieval", "EmbeddingGemma2Model",
]  # fmt: skip
OTHER = [
    "BertForSequenceClassification", "Qwen3ForSequenceClassification", "Qwen2ForRewardModel",
    "JinaForRanking", "RobertaForTokenClassification", "LlamaForCausalLMEagle3", "EagleLlamaForCausalLM",
    "PEagleDraftModel", "Eagle3Speculator", "MedusaModel", "MLPSpeculatorPreTrainedModel",
    "DeepSeekMTPModel", "DFlashDraftModel", "Gemma4AssistantForCausalLM", "T5ForConditionalGeneration",
    "T5EncoderModel", "BartForConditionalGeneration", "WhisperForConditionalGeneration",
    "Qwen3ASRForConditionalGeneration", "Qwen3TTSForConditionalGeneration", "WavTokenizerDec",
    "Lfm25AudioTokenizer", "ViTForImageClassification",
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        *((name, "text") for name in TEXT),
        *((name, "multimodal") for name in MULTIMODAL),
        *((name, "embedding") for name in EMBEDDING),
        *((name, "other") for name in OTHER),
    ],
)
def test_names(name: str, wanted: str) -> None:
    assert modality({}, name) == wanted


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({"vision_config": {"depth": 32}}, "multimodal"),
        ({"audio_config": {"layers": 2}}, "multimodal"),
        ({"text_config": {"vision_config": {"depth": 32}}}, "multimodal"),
        ({"mm_vision_tower": "openai/clip"}, "multimodal"),
        ({"vision_config": None, "audio_config": {}, "visual": True}, "text"),
        ({"is_encoder_decoder": True}, "other"),
        ({"is_encoder_decoder": False}, "text"),
    ],
)
def test_parts_of_the_configuration(config: dict[str, Any], wanted: str) -> None:
    assert modality(config, "SomeForCausalLM") == wanted


@pytest.mark.parametrize(
    "path", ["modules.json", "1_Pooling/config.json", "config_sentence_transformers.json"]
)
def test_a_decoder_that_embeds_is_told_by_its_files(path: str) -> None:
    assert modality({}, "Qwen3ForCausalLM", ["config.json", path]) == "embedding"
    assert modality({}, "Qwen3ForSequenceClassification", [path]) == "other", "rerankers have them too"


def test_what_llama_cpp_takes_of_each() -> None:
    known = frozenset({"LlamaForCausalLM", "Gemma3ForConditionalGeneration", "BertModel"})
    assert is_convertible("text", ["LlamaForCausalLM"], known)
    assert is_convertible("multimodal", ["Gemma3ForConditionalGeneration"], known)
    assert is_convertible("multimodal", ["LlamaForCausalLM", "LlavaNextForConditionalGeneration"], known)
    assert not is_convertible("multimodal", ["NewVisionModel"], known)
    assert not is_convertible("embedding", ["BertModel"], known)


def test_the_language_models_own_name_comes_first() -> None:
    nested = {"architectures": ["A"], "thinker_config": {"text_config": {"architectures": ["B"]}}}
    assert text_architectures(nested) == ["B", "A"]
    assert text_architectures({"architectures": None, "text_config": {"architectures": [3]}}) == []
