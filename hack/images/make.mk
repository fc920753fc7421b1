# Container images. Included by the Makefile.
.PHONY: images
images: ## build the container images (operator, runtime, llamacpp) and write .cluster/images.json
	@python3 -m hack.images.build all
