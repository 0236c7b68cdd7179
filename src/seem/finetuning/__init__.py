"""Fine-tuning of a model on a user's own images and masks: plan, training, calibration, report."""
