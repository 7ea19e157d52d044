"""A stand-in for Fastly on loopback: an API, an edge that runs the VCL installed through it, and a control port.

The stand-in is a program of its own; the product and the tests reach it by its URLs. Fastly's documentation leaves
some questions open: `beliefs` has a switch for each. docs/standin.md lists what the stand-in does not imitate;
`unimitated` has the calls of the API that it answers so, and `vcl` describes its subset of VCL.
"""
