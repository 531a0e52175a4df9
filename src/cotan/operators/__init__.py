"""Pure geometry: each file one idea, a function of sources and of other operators."""
