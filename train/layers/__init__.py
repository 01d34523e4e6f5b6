"""The parts that models are made of, over rows of real frames only."""
