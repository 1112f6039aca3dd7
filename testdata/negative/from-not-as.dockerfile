FROM a IS b
