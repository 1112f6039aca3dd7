FROM a  


run b \  
  c
COPY   <<E   /x
 a  


E
CMD x