"""The public API: models of the CRDs, their generator, validation and reasons. Imported by every room."""

GROUP = "slipway.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
FIELD_MANAGER = "slipway"
