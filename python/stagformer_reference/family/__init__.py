"""Many small models trained alike and compared: python -m stagformer_reference.family --help"""
