"""What lies on disk between the stages: feature stores, manifests, run folders. No torch here."""
