"""Results of the field's own tools on small inputs, kept as files that tests hold ours against."""
