"""The simulated microscope: in-process devices and a caproto IOC."""
