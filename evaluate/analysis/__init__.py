"""What the report tells beside scores: learned weights, missing rates, published numbers."""
