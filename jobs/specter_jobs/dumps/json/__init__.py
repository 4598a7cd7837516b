"""Records of JSON files, in the layouts that real exporters write."""
