"""Documents to other processes: over bluesky's 0MQ proxy, or to a Kafka broker."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
