"""What was seen to break in the field, and no longer does. A module for each subject."""
