"""Where names are kept: one small interface (`base`) and the places behind it."""
