"""One file a family of formats: from what lies on disk to a `LazyDataset`; see `seem.data.layout`."""
