FROM a AS x+y
