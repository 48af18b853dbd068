"""Adversarial attacks, and the change that they cause at each layer."""
