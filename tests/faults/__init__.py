"""What becomes of numbered records when something breaks: sent, acknowledged, delivered, doubled, lost."""
