"""What every long job shares: whole files or none, a lock, a manifest, provenance, progress, refusals, settings.

Small and independent modules; none of them imports torch.
"""
