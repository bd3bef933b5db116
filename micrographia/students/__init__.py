"""The models: what sees a micrograph and answers in words."""
