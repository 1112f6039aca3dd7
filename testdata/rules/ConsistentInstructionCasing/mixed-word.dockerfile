FROM scratch
Copy a /b
cOPY c /d
USER x
