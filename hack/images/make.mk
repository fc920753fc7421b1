# Container images. Included by the Makefile.
.PHONY: images
images: ## build the container images (operator, runtime, llamacpp) and write .cluster/images.json
	@python3 -m hack.images.build all
.PHONY: engine-images
engine-images: ## build the images of more engines: vllm, transformers, llama-cpp-python, ollama
	@python3 -m hack.images.engine_images all
