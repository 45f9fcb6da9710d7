"""Networks behind small protocols: CLIP, text spotting."""
