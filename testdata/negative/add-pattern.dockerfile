FROM scratch
ADD [ /b/
