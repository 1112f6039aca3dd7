FROM scratch as a
from scratch AS b
FROM scratch As c
from scratch aS d
