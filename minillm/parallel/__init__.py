"""Several processes compute one model, or share its prompts. `mpiexec -n 2 ...` starts them; MPI carries messages."""
