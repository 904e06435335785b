"""Output of programs: from pipes into files, and from files to whoever reads them."""
