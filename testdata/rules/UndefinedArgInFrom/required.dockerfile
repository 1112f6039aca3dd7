FROM a${x?no} AS b
