"""bytes → `EventBatch`: one module a family of formats, one line of registration each."""
