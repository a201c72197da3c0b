"""The pages of ``/ops``, one in each file."""
