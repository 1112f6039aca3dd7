# check=skip=UndefinedArgInFrom
FROM scratch$a AS a
