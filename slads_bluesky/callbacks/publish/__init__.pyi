from .base import Publisher as Publisher
from .factory import make_publisher as make_publisher
from .kafka import KafkaPublisher as KafkaPublisher
from .zmq import ZMQListener as ZMQListener
from .zmq import ZMQPublisher as ZMQPublisher
from .zmq import proxy_address as proxy_address
from .zmq import proxy_answers as proxy_answers

__all__ = [
    "KafkaPublisher",
    "Publisher",
    "ZMQListener",
    "ZMQPublisher",
    "make_publisher",
    "proxy_address",
    "proxy_answers",
]
