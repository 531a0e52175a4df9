"""cotan: geometric deep learning on one shared computational graph. Names are edges."""
