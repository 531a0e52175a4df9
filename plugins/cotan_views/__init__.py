"""Shapes as pictures: a renderer in plain torch, and the networks that look at them."""
