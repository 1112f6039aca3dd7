FROM a

RUN b \
  c
COPY <<E /x
 a  


E
CMD x
