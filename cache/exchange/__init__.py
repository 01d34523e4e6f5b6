"""The bridge between our stores and the files of features that the field shares."""
