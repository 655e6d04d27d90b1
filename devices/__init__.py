"""ophyd devices: the SEM beam, the EDS detector, the microscope."""
