"""Units of time, time zones and the periods of a calendar; imports nothing of the rest."""
