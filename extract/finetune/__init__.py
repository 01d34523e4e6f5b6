"""Encoders as trainable modules, for fine-tuning."""
