"""Layer sweeps: trained models and closed-form probes over every layer."""
