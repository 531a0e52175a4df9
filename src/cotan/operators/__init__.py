"""Pure geometry: each file one idea, a function of sources and of other operators.

What stands here is public: the function of every operator, by its name in Python, and beside them maps between two shapes,
`repair`, and what a plugin's own geometry is made of. The modules below are not.

>>> from cotan.operators import cotan_laplacian, triangles
"""

# In this order: of the variants of a name, that registered first is the default.
# isort: off
from .edge_index import edge_index, is_triangle
from .laplacian import cotan_laplacian
from .graph_laplacian import graph_laplacian, heat_laplacian
from .mass import barycentric_mass, degree_mass, unit_mass, voronoi_mass
from .robust_laplacian import (
    cloud_laplacian,
    cloud_mass,
    cloud_matrices,
    robust_laplacian,
    robust_mass,
    robust_matrices,
)
from .normalized_pos import centroid, normalized_pos
from .face_areas import face_areas
from .edge_lengths import edge_lengths
from .normals import cloud_normals, face_normals, vertex_normals
from .tangent_frames import cloud_frames, tangent_frames
from .gradient import cloud_gradient, gradient
from .face_gradient import divergence, face_gradient
from .mesh_report import mesh_report
from .spectrum import spectrum
from .fourier import fourier, inverse_fourier
from .curvatures import gauss_curvature, mean_curvature
from .heat_diffusion import implicit_heat, spectral_heat
from .heat_kernel_signature import heat_kernel_signature
from .wave_kernel_signature import wave_kernel_signature
from .global_point_signature import global_point_signature
from .shape_dna import shape_dna
from .pseudo_coordinates import (
    degree_coordinates,
    geodesic_coordinates,
    offset_coordinates,
    polar_coordinates,
    relative_coordinates,
    tangent_coordinates,
)
from .neighbours import nearest, nearest_neighbours, radius_neighbours
from .nearest_on_surface import nearest_on_surface, nearest_on_triangles
from .farthest_points import farthest_points
from .surface_points import surface_points
from .geodesic_distance import geodesic_distance, heat_distance
from .logarithmic_map import logarithmic_map
from .ring_neighbours import ring_neighbours
from .geodesic_polar import geodesic_polar
from .functional_map import align_spectra, from_point_map, functional_map, landmark_values, point_map, zoom_out
from .repair import repair
from .topology import connected, orientation, topology
from .triangles import triangles
from .undirected import undirected

__all__ = [
    "align_spectra",
    "barycentric_mass",
    "centroid",
    "cloud_frames",
    "cloud_gradient",
    "cloud_laplacian",
    "cloud_mass",
    "cloud_matrices",
    "cloud_normals",
    "connected",
    "cotan_laplacian",
    "degree_coordinates",
    "degree_mass",
    "divergence",
    "edge_index",
    "edge_lengths",
    "face_areas",
    "face_gradient",
    "face_normals",
    "farthest_points",
    "fourier",
    "from_point_map",
    "functional_map",
    "gauss_curvature",
    "geodesic_coordinates",
    "geodesic_distance",
    "geodesic_polar",
    "global_point_signature",
    "gradient",
    "graph_laplacian",
    "heat_distance",
    "heat_kernel_signature",
    "heat_laplacian",
    "implicit_heat",
    "inverse_fourier",
    "is_triangle",
    "landmark_values",
    "logarithmic_map",
    "mean_curvature",
    "mesh_report",
    "nearest",
    "nearest_neighbours",
    "nearest_on_surface",
    "nearest_on_triangles",
    "normalized_pos",
    "offset_coordinates",
    "orientation",
    "point_map",
    "polar_coordinates",
    "radius_neighbours",
    "relative_coordinates",
    "repair",
    "ring_neighbours",
    "robust_laplacian",
    "robust_mass",
    "robust_matrices",
    "shape_dna",
    "spectral_heat",
    "spectrum",
    "surface_points",
    "tangent_coordinates",
    "tangent_frames",
    "topology",
    "triangles",
    "undirected",
    "unit_mass",
    "vertex_normals",
    "voronoi_mass",
    "wave_kernel_signature",
    "zoom_out",
]
