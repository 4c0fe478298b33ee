"""streamwatch: is the model in production still the model that was tested?"""

__version__ = "0.1.0"
