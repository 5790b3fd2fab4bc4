module session-affinity-conformance/images

go 1.21
