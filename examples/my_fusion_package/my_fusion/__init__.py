"""An example of a third-party package: its catalogue of fusion modules. It imports nothing."""

CATALOGUE = {"spatial_gate": "my_fusion.spatial_gate:SpatialGate"}
