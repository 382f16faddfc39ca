"""The processes: gate, camera, worker, and how the gate keeps the other two."""
