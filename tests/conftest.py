"""Every property test takes as long as it needs: a deadline says more about the machine than about the code."""
from hypothesis import settings

settings.register_profile("distill", deadline=None)
settings.load_profile("distill")
